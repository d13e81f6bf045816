-- Samples, in a file of their own. Hosts are 16 bytes of UUID, epochs and boots are 64 bits as a signed
-- integer, times are milliseconds UTC on the controller's clock.

-- What the columns of ticks mean. Committed with the first frame that uses it.
CREATE TABLE schemas (
    id   BLOB PRIMARY KEY,
    body BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- A run of frames of one host, epoch and schema: frames in the tail name it by a short number.
CREATE TABLE chains (
    id     INTEGER PRIMARY KEY,
    host   BLOB NOT NULL,
    epoch  INTEGER NOT NULL,
    boot   INTEGER NOT NULL,
    schema BLOB NOT NULL
) STRICT;

-- One row per commit, in order: frames of all hosts that came during the commit before. Never a row
-- per frame and never a key by host here: that costs five to nine times as much.
CREATE TABLE tail (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    frames INTEGER NOT NULL,
    body   BLOB NOT NULL
) STRICT;

-- Up to which number the frames of an epoch are in parts. Written in the transaction that writes the
-- part, so a frame that is in the tail and in a part is known to be one.
CREATE TABLE positions (
    host  BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    boot  INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    at    INTEGER NOT NULL,
    PRIMARY KEY (host, epoch)
) STRICT, WITHOUT ROWID;

-- Columnar stretches of one host, epoch, schema and hour. tier 0: as compacted; 1: merged by hour.
CREATE TABLE parts (
    id        INTEGER PRIMARY KEY,
    host      BLOB NOT NULL,
    epoch     INTEGER NOT NULL,
    boot      INTEGER NOT NULL,
    schema    BLOB NOT NULL,
    tier      INTEGER NOT NULL,
    hour      INTEGER NOT NULL,
    from_at   INTEGER NOT NULL,
    to_at     INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    ticks     INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    body      BLOB NOT NULL
) STRICT;
CREATE INDEX parts_host ON parts (host, to_at);
CREATE INDEX parts_merge ON parts (tier, hour);
CREATE INDEX parts_to ON parts (to_at);

-- Samples that will never come. first_seq 0: no number was given to them.
CREATE TABLE gaps (
    host        BLOB NOT NULL,
    epoch       INTEGER NOT NULL,
    first_seq   INTEGER NOT NULL,
    last_seq    INTEGER NOT NULL,
    from_at     INTEGER NOT NULL,
    to_at       INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    PRIMARY KEY (host, epoch, first_seq, from_at, reason)
) STRICT, WITHOUT ROWID;
CREATE INDEX gaps_time ON gaps (host, to_at);

-- Small facts about the file itself, such as that retention waits for a person.
CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
