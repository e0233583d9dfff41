-- Hot items: the auctions with the most bids of the last ten seconds, every two seconds.
SELECT bids.auction, bids.num, bids.window_start, bids.window_end
FROM (
    SELECT auction, count(*) AS num, window_start, window_end
    FROM HOP(bid, date_time, INTERVAL '2' SECOND, INTERVAL '10' SECOND)
    GROUP BY auction, window_start, window_end
) bids
JOIN (
    SELECT max(num) AS num, window_start, window_end
    FROM (
        SELECT count(*) AS num, window_start, window_end
        FROM HOP(bid, date_time, INTERVAL '2' SECOND, INTERVAL '10' SECOND)
        GROUP BY auction, window_start, window_end
    ) counts
    GROUP BY window_start, window_end
) most
ON bids.window_start = most.window_start AND bids.window_end = most.window_end AND bids.num >= most.num
