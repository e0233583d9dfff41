-- Windows: bids of every bidder, every ten seconds.
-- The benchmark asks for windows of processing time. The time of a bid stands for it here, since an answer must not
-- depend on when it is computed.
SELECT bidder, count(*) AS bid_count, window_start, window_end
FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND)
GROUP BY bidder, window_start, window_end
