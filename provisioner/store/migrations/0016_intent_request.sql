-- what was asked under an idempotency key, so that another request under it is told from a repetition
ALTER TABLE intent ADD COLUMN request TEXT NOT NULL DEFAULT '';
