-- JSON, a list of numbers: the tokens of the answer's text, by which it can be explained; NULL where an older
-- Glimpse did not keep them, and of a model that compares.
ALTER TABLE answer ADD COLUMN token_ids TEXT;
