-- JSON, a list of {"text", "match", "cosine"}: how well each text fits, of an answer of a model that compares
-- texts with a picture; NULL of one that writes.
ALTER TABLE answer ADD COLUMN scores TEXT;
