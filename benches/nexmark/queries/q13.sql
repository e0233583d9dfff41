-- Bounded side input join: bids with what a table of ten thousand rows says about their auctions.
-- The field's form: the side table is written out here, all pairs of pairs of digits.
WITH digits (d) AS (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)),
side_input AS (
    SELECT
        CAST(1000 * a.d + 100 * b.d + 10 * c.d + d.d AS BIGINT) AS key,
        CAST(1000 * a.d + 100 * b.d + 10 * c.d + d.d AS TEXT) AS value
    FROM digits a CROSS JOIN digits b CROSS JOIN digits c CROSS JOIN digits d
)
SELECT b.auction, b.bidder, b.price, b.date_time, s.value
FROM bid b JOIN side_input s ON b.auction % 10000 = s.key
