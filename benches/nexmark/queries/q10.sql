-- Log to a file system: bids with the day and the minute that their file is named by.
-- The field's form: the benchmark writes partitioned files, which is a matter of the sink. The query is the
-- projection that makes the columns to partition by.
SELECT
    auction, bidder, price, date_time, extra,
    to_char(date_time, '%Y-%m-%d') AS day,
    to_char(date_time, '%H:%M') AS minute
FROM bid
