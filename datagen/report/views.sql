-- Views over the tables of a dataset, on top of `images`, `caption_rows`, `regions`, `grounding`,
-- `negatives`, `errors` and `shards`, which views.py puts over the Parquet files.

-- Captions with the share of their phrases that a box supports, and what is left of the long one
-- where sentences were dropped; null where the regions stage has not been there.
CREATE OR REPLACE VIEW captions AS
SELECT c.*, g.grounded, g.grounded_long
FROM caption_rows AS c
LEFT JOIN (
    SELECT shard, image_id, grounded, long AS grounded_long FROM grounding
) AS g USING (shard, image_id);

-- One row a negative: the phrase, what was changed in it, and the region it is false of.
CREATE OR REPLACE VIEW negative_items AS
SELECT shard, image_id, region_id, positive, unnest(negatives, recursive := true)
FROM negatives;

-- One row a region with all that is known of it. Without the picture's bytes, so it is light:
-- join `images` for those.
CREATE OR REPLACE VIEW pairs AS
SELECT
    r.shard,
    r.image_id,
    r.region_id,
    r.phrase,
    r.description,
    r.bbox,
    r.score,
    r.margin,
    r.area,
    r.grounded,
    n.positive,
    coalesce(n.negatives, []) AS negatives,
    c.long,
    c.short,
    i.uri,
    i.width,
    i.height
FROM regions AS r
LEFT JOIN negatives AS n USING (shard, region_id)
LEFT JOIN captions AS c ON c.shard = r.shard AND c.image_id = r.image_id
LEFT JOIN images AS i ON i.shard = r.shard AND i.image_id = r.image_id;

-- One row a table and configuration: how much it made, and whether it is one configuration.
CREATE OR REPLACE VIEW lineage AS
SELECT
    table_name,
    stage,
    fingerprint,
    code_version,
    settings,
    count(*) AS shards,
    sum("rows")::BIGINT AS "rows",
    sum(rows_in)::BIGINT AS rows_in,
    sum(dead_letters)::BIGINT AS dead_letters
FROM shards
GROUP BY ALL
ORDER BY min(list_position(['images', 'captions', 'regions', 'grounding', 'negatives'], table_name)), fingerprint;

-- Dead letters by stage and reason, with one of the messages.
CREATE OR REPLACE VIEW error_reasons AS
SELECT stage, error, count(*) AS "rows", min(message) AS example
FROM errors
GROUP BY stage, error
ORDER BY "rows" DESC, stage, error;
