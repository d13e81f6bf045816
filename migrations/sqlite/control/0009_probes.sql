-- Probes: what operators have asked again and again, how each stands, and what came of it.

CREATE TABLE probes (
    -- the number is the label of a host's results in its samples, so it is never used again
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL UNIQUE,
    -- what is asked, from where, how often, and when it is told of: JSON
    definition TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- How a probe stands, by who runs it: '' for the controller, else a host's id.
CREATE TABLE probe_states (
    probe         INTEGER NOT NULL REFERENCES probes (id) ON DELETE CASCADE,
    runner        TEXT NOT NULL,
    -- the last result
    at            INTEGER NOT NULL,
    reason        INTEGER NOT NULL,
    number        INTEGER NOT NULL,
    micros        INTEGER,
    days          INTEGER,
    -- since when it stands as it does
    since         INTEGER NOT NULL,
    fails         INTEGER NOT NULL,
    passes        INTEGER NOT NULL,
    -- since when it is told of
    failing_since INTEGER,
    -- and with which reason: the last one that was counted
    told_reason   INTEGER,
    told_number   INTEGER,
    -- the time that the last try was due at, or the host's own count of its tries
    slot          INTEGER NOT NULL,
    epoch         INTEGER NOT NULL,
    PRIMARY KEY (probe, runner)
) STRICT, WITHOUT ROWID;

-- Results by five minutes: what the share of time up and the small lines are made of.
CREATE TABLE probe_buckets (
    probe      INTEGER NOT NULL REFERENCES probes (id) ON DELETE CASCADE,
    runner     TEXT NOT NULL,
    at         INTEGER NOT NULL,
    up         INTEGER NOT NULL,
    down       INTEGER NOT NULL,
    other      INTEGER NOT NULL,
    timed      INTEGER NOT NULL,
    micros_sum INTEGER NOT NULL,
    PRIMARY KEY (probe, runner, at)
) STRICT, WITHOUT ROWID;
CREATE INDEX probe_buckets_at ON probe_buckets (at);

-- The last few results of each, one by one.
CREATE TABLE probe_results (
    id     INTEGER PRIMARY KEY,
    probe  INTEGER NOT NULL REFERENCES probes (id) ON DELETE CASCADE,
    runner TEXT NOT NULL,
    at     INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    number INTEGER NOT NULL,
    micros INTEGER,
    days   INTEGER
) STRICT;
CREATE INDEX probe_results_of ON probe_results (probe, runner, id);
