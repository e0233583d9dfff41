-- Average selling price by seller: of the last ten auctions that were won.
-- The field's form: the benchmark asks for the last ten auctions to close, which is a frame of rows over the winning
-- bids of a seller in order of time.
SELECT
    seller,
    id,
    avg(final) OVER (
        PARTITION BY seller ORDER BY date_time, id ROWS BETWEEN 9 PRECEDING AND CURRENT ROW
    ) AS avg
FROM (
    SELECT
        a.seller,
        a.id,
        b.price AS final,
        b.date_time,
        row_number() OVER (PARTITION BY a.id, a.seller ORDER BY b.price DESC, b.date_time) AS place
    FROM auction a JOIN bid b ON a.id = b.auction
    WHERE b.date_time BETWEEN a.date_time AND a.expires
) winning
WHERE place <= 1
