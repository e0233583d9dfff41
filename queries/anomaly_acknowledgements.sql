-- Who has seen to which anomaly: one row an anomaly, written by
--
--   CALL acknowledge_anomaly('5d41402a...', 'rolled back');
--
-- which writes nothing where anomalies has no such id. Rows can be inserted, changed and deleted as those of any table:
-- without its row an anomaly is not acknowledged any more.
--
-- It is about what goes on in a series at a time: where late telemetry or a later look moves the beginning of the anomaly,
-- and with it the id, it is acknowledged still.
--
--   anomaly_id                the id that it had in anomalies
--   service_name, metric_name its series
--   detected_at               when it began, as was known then
--   note                      what was said; null for nothing
--   acknowledged_at           by the stream clock; of several times the last
CREATE TABLE anomaly_acknowledgements (
    anomaly_id text PRIMARY KEY,
    service_name text,
    metric_name text NOT NULL,
    detected_at timestamptz NOT NULL,
    note text,
    acknowledged_at timestamptz NOT NULL DEFAULT now()
);
