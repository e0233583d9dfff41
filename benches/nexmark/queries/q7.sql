-- Highest bid: of every ten seconds.
SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
FROM bid b
JOIN (
    SELECT max(price) AS price, window_start, window_end
    FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND)
    GROUP BY window_start, window_end
) highest
ON b.price = highest.price AND b.date_time >= highest.window_start AND b.date_time < highest.window_end
