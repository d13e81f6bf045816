-- Control data: everything but samples. Times are integer milliseconds UTC, ids are text,
-- JSON is text. Samples live in a file of their own so that writers do not wait for each other.

CREATE TABLE settings (
    name       TEXT PRIMARY KEY,
    value      TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- The CA is made once. Its key is wrapped by a key file that is not in the database.
CREATE TABLE authority (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    certificate BLOB NOT NULL,
    wrapped_key BLOB NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE controllers (
    id                   TEXT PRIMARY KEY,
    dispatch_certificate BLOB NOT NULL,
    wrapped_dispatch_key BLOB NOT NULL,
    created_at           INTEGER NOT NULL
) STRICT;

CREATE TABLE hosts (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    removed_at    INTEGER,
    agent_version TEXT NOT NULL DEFAULT '',
    inventory     TEXT NOT NULL DEFAULT '{}',
    grants        TEXT NOT NULL DEFAULT '{}',
    last_seen     INTEGER NOT NULL DEFAULT 0,
    -- Raised by compare-and-set when a controller takes the host over; orders carry it.
    lease         INTEGER NOT NULL DEFAULT 0,
    lease_owner   TEXT NOT NULL DEFAULT '',
    -- 0 ordinary, 1 critical: raises the risk of every action on it.
    criticality   INTEGER NOT NULL DEFAULT 0,
    -- Id of the enrolment token by which it came, or came back.
    enrolled_by   TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX hosts_name ON hosts (name);
CREATE INDEX hosts_enrolled_by ON hosts (enrolled_by);

-- Labels with source 'agent' begin with 'host.' and are for display; those with source 'admin' may
-- select for rights and automation.
CREATE TABLE host_labels (
    host   TEXT NOT NULL REFERENCES hosts (id),
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (host, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX host_labels_name ON host_labels (name, value);

CREATE TABLE certificates (
    fingerprint TEXT PRIMARY KEY,
    host        TEXT NOT NULL REFERENCES hosts (id),
    not_after   INTEGER NOT NULL,
    issued_at   INTEGER NOT NULL,
    revoked_at  INTEGER,
    revoked_by  TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX certificates_host ON certificates (host);

-- Only the SHA-256 of a token is stored.
CREATE TABLE enrollment_tokens (
    id           TEXT PRIMARY KEY,
    hash         BLOB NOT NULL UNIQUE,
    name         TEXT NOT NULL,
    created_by   TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    max_uses     INTEGER NOT NULL,
    uses         INTEGER NOT NULL DEFAULT 0,
    labels       TEXT NOT NULL DEFAULT '{}',
    -- A recovery token is bound to the host that it brings back.
    recovers     TEXT REFERENCES hosts (id),
    revoked_at   INTEGER
) STRICT;

CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    role          TEXT NOT NULL,
    must_change   INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL,
    disabled_at   INTEGER
) STRICT;

CREATE TABLE web_sessions (
    hash       BLOB PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id),
    csrf       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    address    TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE INDEX web_sessions_user ON web_sessions (user_id);

CREATE TABLE api_tokens (
    id         TEXT PRIMARY KEY,
    hash       BLOB NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    role       TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used  INTEGER,
    revoked_at INTEGER
) STRICT;

-- Which action may be taken on which host, or on hosts with an admin's label, and whether by itself.
CREATE TABLE assignments (
    id          TEXT PRIMARY KEY,
    host        TEXT REFERENCES hosts (id),
    label_name  TEXT,
    label_value TEXT,
    action      TEXT NOT NULL,
    automatic   INTEGER NOT NULL DEFAULT 0,
    created_by  TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    CHECK ((host IS NULL) <> (label_name IS NULL))
) STRICT;
CREATE UNIQUE INDEX assignments_host ON assignments (host, action) WHERE host IS NOT NULL;
CREATE UNIQUE INDEX assignments_label ON assignments (label_name, label_value, action) WHERE label_name IS NOT NULL;

CREATE TABLE incidents (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    -- NULL for trouble of the controller or of the fleet
    host        TEXT REFERENCES hosts (id),
    -- category, entity and file system; while the incident is open also in open_key, which is unique
    fingerprint TEXT NOT NULL,
    open_key    TEXT UNIQUE,
    category    TEXT NOT NULL,
    entity      TEXT NOT NULL,
    severity    TEXT NOT NULL,
    title       TEXT NOT NULL,
    cause       TEXT NOT NULL DEFAULT '',
    -- percent
    confidence  INTEGER NOT NULL,
    -- findings with their evidence, newest look
    findings    TEXT NOT NULL DEFAULT '[]',
    offers      TEXT NOT NULL DEFAULT '[]',
    opened_at   INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    -- when the trouble was last seen; hysteresis before closing starts here
    last_true   INTEGER NOT NULL,
    closed_at   INTEGER,
    close_why   TEXT,
    acked_by    TEXT,
    acked_at    INTEGER,
    -- 1, and one more each time that it came back within an hour of its closing
    opens       INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE INDEX incidents_host ON incidents (host, opened_at);
CREATE INDEX incidents_closed ON incidents (closed_at);

-- What the analyser must remember of a host beyond the samples in memory.
CREATE TABLE analyser_state (
    host       TEXT PRIMARY KEY REFERENCES hosts (id),
    state      TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What the link saw of a host that no sample tells: a second live session on one certificate, …
CREATE TABLE host_events (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    host   TEXT NOT NULL REFERENCES hosts (id),
    at     INTEGER NOT NULL,
    kind   TEXT NOT NULL,
    detail TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX host_events_host ON host_events (host, at);

-- Times in which nothing runs by itself: on one host, or on all where host is NULL.
CREATE TABLE maintenance (
    id         TEXT PRIMARY KEY,
    host       TEXT REFERENCES hosts (id),
    starts_at  INTEGER NOT NULL,
    ends_at    INTEGER NOT NULL,
    reason     TEXT NOT NULL DEFAULT '',
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    CHECK (ends_at > starts_at)
) STRICT;
CREATE INDEX maintenance_ends ON maintenance (ends_at);

CREATE TABLE runs (
    id           TEXT PRIMARY KEY,
    host         TEXT NOT NULL REFERENCES hosts (id),
    incident     INTEGER REFERENCES incidents (id),
    action       TEXT NOT NULL,
    params       TEXT NOT NULL,
    target       TEXT NOT NULL,
    attempt      INTEGER NOT NULL DEFAULT 1,
    -- host, action and target while the run is open or unknown: nothing new is planned meanwhile
    intent       TEXT UNIQUE,
    -- who asked under which idempotency key: the same request again finds this run
    request_key  TEXT UNIQUE,
    state        TEXT NOT NULL,
    risk         TEXT NOT NULL,
    risk_factors TEXT NOT NULL DEFAULT '[]',
    origin       TEXT NOT NULL,
    reason       TEXT NOT NULL DEFAULT '',
    created_by   TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    decided_by   TEXT,
    decided_at   INTEGER,
    claimed_by   TEXT,
    claimed_at   INTEGER,
    lease        INTEGER,
    -- approved: not claimed after this time; from claimed on: the order's own expiry
    expires_at   INTEGER,
    cancel_by    TEXT,
    cancel_at    INTEGER,
    sent_at      INTEGER,
    finished_at  INTEGER,
    exit         INTEGER,
    duration_ms  INTEGER,
    refusal      TEXT,
    detail       TEXT NOT NULL DEFAULT '',
    signed_order BLOB,
    output_bytes INTEGER,
    output_hash  BLOB
) STRICT;
CREATE INDEX runs_host ON runs (host, created_at);
CREATE INDEX runs_state ON runs (state, created_at);
CREATE INDEX runs_incident ON runs (incident);
CREATE INDEX runs_claimed ON runs (claimed_at) WHERE claimed_at IS NOT NULL;
CREATE UNIQUE INDEX runs_plan ON runs (host, incident, action, target, attempt) WHERE incident IS NOT NULL;

-- Append-only. number is the host's journal number for source 'host', our own count for 'controller'
-- and for 'said', which is what a host tells without its journal.
CREATE TABLE run_events (
    run         TEXT NOT NULL REFERENCES runs (id),
    source      TEXT NOT NULL,
    number      INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    state       TEXT NOT NULL,
    detail      TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (run, source, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE run_outputs (
    run      TEXT NOT NULL REFERENCES runs (id),
    position INTEGER NOT NULL,
    bytes    BLOB NOT NULL,
    PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    principal  TEXT NOT NULL,
    key        TEXT NOT NULL,
    request    BLOB NOT NULL,
    status     INTEGER NOT NULL,
    body       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (principal, key)
) STRICT, WITHOUT ROWID;

-- One hash chain per controller. hash = SHA-256(domain, length-prefixed record, previous hash).
CREATE TABLE audit (
    controller TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    actor      TEXT NOT NULL,
    action     TEXT NOT NULL,
    object     TEXT NOT NULL,
    detail     TEXT NOT NULL,
    previous   BLOB NOT NULL,
    hash       BLOB NOT NULL,
    PRIMARY KEY (controller, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_object ON audit (object, at);

CREATE TABLE audit_heads (
    controller  TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    hash        BLOB NOT NULL,
    signature   BLOB NOT NULL,
    -- of the dispatch key that signed, so that a head can be checked after the key was renewed
    certificate BLOB NOT NULL,
    PRIMARY KEY (controller, seq)
) STRICT, WITHOUT ROWID;

-- Append-only by the database's own word too; the hashes show what goes around it.
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT raise(ABORT, 'audit records are never changed'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN SELECT raise(ABORT, 'audit records are never deleted'); END;
CREATE TRIGGER audit_heads_no_update BEFORE UPDATE ON audit_heads
BEGIN SELECT raise(ABORT, 'audit heads are never changed'); END;
CREATE TRIGGER audit_heads_no_delete BEFORE DELETE ON audit_heads
BEGIN SELECT raise(ABORT, 'audit heads are never deleted'); END;
CREATE TRIGGER run_events_no_update BEFORE UPDATE ON run_events
BEGIN SELECT raise(ABORT, 'events of a run are never changed'); END;
