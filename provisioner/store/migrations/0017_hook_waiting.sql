-- how far each webhook has delivered: every event up to `reach`, but for those of the machines in `waiting`, which wait
-- from the number there on; `cursor` comes before the first of all that wait
ALTER TABLE hook ADD COLUMN reach INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hook ADD COLUMN waiting BLOB NOT NULL DEFAULT '{}';
UPDATE hook SET reach = max(cursor, coalesce((SELECT max(value) FROM json_each(CAST(ahead AS TEXT))), 0));
UPDATE hook SET waiting = (
    SELECT CAST(json_group_object(machine, first) AS BLOB) FROM (
        SELECT machine, min(seq) AS first FROM event
        WHERE seq > hook.cursor AND seq <= hook.reach
        AND seq NOT IN (SELECT value FROM json_each(CAST(hook.ahead AS TEXT)))
        GROUP BY machine
    )
);
ALTER TABLE hook DROP COLUMN ahead;
