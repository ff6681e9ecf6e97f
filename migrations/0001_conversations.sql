-- What Glimpse keeps: who asked what about which picture, and what was answered.
--
-- Times are milliseconds since 1970, UTC. Ids of conversations, turns and answers, and keys of
-- previews, are 32 hexadecimal digits. Of secrets there are only SHA-256 hashes, of 32 bytes.

-- Whoever owns something; 32 zero bytes own what an older Glimpse kept, which knew no visitors.
CREATE TABLE visitor (
    secret_hash BLOB NOT NULL PRIMARY KEY CHECK (length(secret_hash) = 32),
    seen        INTEGER NOT NULL
) STRICT;

-- A picture is kept once, however many conversations are about it. Its files lie beside the
-- database: pictures/ab/HASH and pictures/ab/HASH.preview.jpg.
CREATE TABLE picture (
    sha256_pixels BLOB NOT NULL PRIMARY KEY CHECK (length(sha256_pixels) = 32),
    width         INTEGER NOT NULL,
    height        INTEGER NOT NULL,
    -- Of both files together.
    bytes         INTEGER NOT NULL,
    media_type    TEXT NOT NULL,
    created       INTEGER NOT NULL
) STRICT;

CREATE TABLE conversation (
    id          TEXT NOT NULL PRIMARY KEY,
    owner       BLOB NOT NULL REFERENCES visitor (secret_hash),
    picture     BLOB NOT NULL REFERENCES picture (sha256_pixels),
    preview_key TEXT NOT NULL UNIQUE,
    -- The picture's, as this owner put it in; another's file of the same pixels may be larger.
    bytes       INTEGER NOT NULL,
    title       TEXT,
    created     INTEGER NOT NULL,
    -- When something was last asked or answered. No two have the same from a running Glimpse,
    -- so that it is an order.
    updated     INTEGER NOT NULL
) STRICT;

CREATE INDEX conversation_by_owner ON conversation (owner, updated);
CREATE INDEX conversation_by_age ON conversation (updated);
CREATE INDEX conversation_by_picture ON conversation (picture);

CREATE TABLE turn (
    id           TEXT NOT NULL PRIMARY KEY,
    conversation TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    -- Counts the conversation's turns in the order in which they began.
    position     INTEGER NOT NULL,
    -- The turn that it follows; several that follow the same one are branches.
    parent       TEXT,
    question     TEXT NOT NULL,
    created      INTEGER NOT NULL,
    UNIQUE (conversation, position),
    UNIQUE (conversation, id),
    FOREIGN KEY (conversation, parent) REFERENCES turn (conversation, id)
) STRICT;

CREATE INDEX turn_by_parent ON turn (conversation, parent);

CREATE TABLE answer (
    id       TEXT NOT NULL PRIMARY KEY,
    turn     TEXT NOT NULL REFERENCES turn (id) ON DELETE CASCADE,
    -- Counts the turn's answers in the order in which they were asked for.
    attempt  INTEGER NOT NULL,
    model    TEXT NOT NULL,
    -- JSON, as chat::Settings writes it.
    settings TEXT NOT NULL,
    -- The 64 bits of an unsigned number.
    seed     INTEGER,
    prompt   TEXT,
    text     TEXT NOT NULL,
    -- JSON, a list of texts.
    further  TEXT NOT NULL,
    state    TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed')),
    finish   TEXT CHECK (finish IN ('stop', 'length', 'cancelled', 'interrupted')),
    -- JSON, as chat::Error writes it.
    error    TEXT,
    -- JSON: milliseconds of each part.
    timings  TEXT,
    created  INTEGER NOT NULL,
    updated  INTEGER NOT NULL,
    UNIQUE (turn, attempt),
    CHECK ((state = 'done') = (finish IS NOT NULL)),
    CHECK ((state = 'failed') = (error IS NOT NULL))
) STRICT;

-- Those that a start finds are interrupted.
CREATE INDEX answer_running ON answer (turn) WHERE state = 'running';

-- An address by which a conversation can be read by whoever has it. None are made yet.
CREATE TABLE share (
    id_hash      BLOB NOT NULL PRIMARY KEY CHECK (length(id_hash) = 32),
    conversation TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    -- The last turn that it shows; what was said later stays private.
    last_turn    TEXT,
    created      INTEGER NOT NULL,
    revoked      INTEGER,
    FOREIGN KEY (conversation, last_turn) REFERENCES turn (conversation, id)
) STRICT;

CREATE INDEX share_by_conversation ON share (conversation, last_turn);

-- What a visitor thinks of an answer. None is given yet.
CREATE TABLE feedback (
    answer  TEXT NOT NULL REFERENCES answer (id) ON DELETE CASCADE,
    visitor BLOB NOT NULL CHECK (length(visitor) = 32),
    value   INTEGER NOT NULL CHECK (value IN (-1, 1)),
    note    TEXT,
    created INTEGER NOT NULL,
    PRIMARY KEY (answer, visitor)
) STRICT;

-- Who may use the HTTP API. None are made yet.
CREATE TABLE api_key (
    key_hash BLOB NOT NULL PRIMARY KEY CHECK (length(key_hash) = 32),
    name     TEXT NOT NULL,
    created  INTEGER NOT NULL,
    used     INTEGER,
    revoked  INTEGER
) STRICT;
