-- Whether its owner wants to find the conversation first, and to lose it last.
ALTER TABLE conversation ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1));
