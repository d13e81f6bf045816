-- The model's second opinion: what was asked and answered, what it cost, what people told it and said of it.

-- One row per question about an incident, a test or a refusal to ask.
CREATE TABLE analyses (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Not a reference: an incident may be forgotten before what was spent on it.
    incident       INTEGER,
    host           TEXT,
    at             INTEGER NOT NULL,
    -- why it was asked: opened, category, root, severity, evidence, periodic, person
    reason         TEXT NOT NULL,
    model          TEXT NOT NULL,
    prompt_version TEXT NOT NULL,
    schema_version TEXT NOT NULL,
    language       TEXT NOT NULL,
    -- equal questions have equal keys
    key            BLOB NOT NULL,
    -- what was said to the model, and what it said, as JSON lists of messages; emptied by retention
    prompt         TEXT NOT NULL DEFAULT '[]',
    answer         TEXT NOT NULL DEFAULT '',
    -- accepted, repaired, flagged, rejected, failed, shared, capped
    verdict        TEXT NOT NULL,
    -- what the verifier threw out, and why, as JSON
    rejects        TEXT NOT NULL DEFAULT '[]',
    -- what counts of it, as JSON; NULL when nothing does
    opinion        TEXT,
    -- percent; what is left of its own confidence by experience and by the rules
    confidence     INTEGER,
    error          TEXT,
    turns          INTEGER NOT NULL DEFAULT 0,
    latency_ms     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX analyses_incident ON analyses (incident, id);
CREATE INDEX analyses_host ON analyses (host, id);
CREATE INDEX analyses_at ON analyses (at);

-- Every request that was sent, also those without an answer. Money in millionths of the currency.
CREATE TABLE model_costs (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    analysis      INTEGER,
    incident      INTEGER,
    host          TEXT,
    at            INTEGER NOT NULL,
    -- days since 1970, UTC
    day           INTEGER NOT NULL,
    model         TEXT NOT NULL,
    purpose       TEXT NOT NULL,
    prompt        INTEGER NOT NULL,
    cached        INTEGER NOT NULL,
    completion    INTEGER NOT NULL,
    reasoning     INTEGER NOT NULL,
    -- 1: the server did not say, it was counted here
    estimated     INTEGER NOT NULL,
    -- digest of the prices that held
    price_version TEXT NOT NULL,
    micro         INTEGER NOT NULL,
    currency      TEXT NOT NULL
) STRICT;
CREATE INDEX model_costs_day ON model_costs (day);
CREATE INDEX model_costs_incident ON model_costs (incident);

-- Notes of admins for the model. Never changed: a new text is a new version, an empty one takes it away.
CREATE TABLE model_prompts (
    -- global, label:NAME=VALUE or host:ID
    scope      TEXT NOT NULL,
    version    INTEGER NOT NULL,
    text       TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (scope, version)
) STRICT, WITHOUT ROWID;

-- What people say of an incident. The last word of each person counts.
CREATE TABLE feedback (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    incident   INTEGER NOT NULL,
    category   TEXT NOT NULL,
    -- right, wrong, noise
    verdict    TEXT NOT NULL,
    comment    TEXT NOT NULL DEFAULT '',
    -- what the rules and the model said of their own sureness at that moment, percent
    confidence INTEGER NOT NULL,
    model      TEXT,
    stated     INTEGER,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX feedback_incident ON feedback (incident, id);
CREATE INDEX feedback_category ON feedback (category, id);

-- Actions that lost the right to run by themselves for a kind of trouble, until a person lifts it.
CREATE TABLE demotions (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    action    TEXT NOT NULL,
    category  TEXT NOT NULL,
    reason    TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    lifted_at INTEGER,
    lifted_by TEXT
) STRICT;
CREATE UNIQUE INDEX demotions_open ON demotions (action, category) WHERE lifted_at IS NULL;
CREATE TRIGGER model_prompts_no_update BEFORE UPDATE ON model_prompts
BEGIN SELECT raise(ABORT, 'a note of an admin is never changed: write a new version'); END;
