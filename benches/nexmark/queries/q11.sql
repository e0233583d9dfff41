-- User sessions: bids of every bidder, without a pause of ten seconds.
SELECT bidder, count(*) AS bid_count, window_start, window_end
FROM SESSION(bid PARTITION BY bidder, date_time, INTERVAL '10' SECOND)
GROUP BY bidder, window_start, window_end
