-- Rules of operators: what must hold on hosts. `condition` is JSON of one of the kinds that the store
-- knows; `builtin` names the rules that come with the product, which can be switched off and copied.
CREATE TABLE rules (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    builtin     TEXT    NOT NULL DEFAULT '',
    name        TEXT    NOT NULL,
    condition   TEXT    NOT NULL,
    for_ms      INTEGER NOT NULL,
    keep_ms     INTEGER NOT NULL,
    severity    TEXT    NOT NULL,
    host        TEXT,
    label_name  TEXT,
    label_value TEXT,
    labels      TEXT    NOT NULL,
    enabled     INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    created_by  TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_by  TEXT    NOT NULL,
    updated_at  INTEGER NOT NULL
);
CREATE UNIQUE INDEX rules_name ON rules (name);

-- How far each rule is on each host: pending since, firing since. Packed by its owner with a version
-- byte; what a version cannot read it works out again from the samples in memory.
CREATE TABLE rule_states (
    host       TEXT PRIMARY KEY,
    state      BLOB    NOT NULL,
    updated_at INTEGER NOT NULL
);

INSERT INTO rules (builtin, name, condition, for_ms, keep_ms, severity, labels, enabled, version,
    created_by, created_at, updated_by, updated_at)
VALUES
 ('fs_full', 'A file system is above 95 %',
  '{"kind":"expression","when":"fs.used_ratio > 95 % and fs.read_only == 0","clear":"fs.used_ratio < 93 %"}',
  600000, 0, 'warning', '{}', 1, 1, 'sysop', 0, 'sysop', 0),
 ('inodes_full', 'A file system has used 95 % of its inodes',
  '{"kind":"expression","when":"fs.inodes.used_ratio > 95 % and fs.read_only == 0","clear":"fs.inodes.used_ratio < 93 %"}',
  600000, 0, 'warning', '{}', 1, 1, 'sysop', 0, 'sysop', 0),
 ('swap_full', 'Swap is nearly full',
  '{"kind":"expression","when":"swap.used_ratio > 90 % and swap.total > 64 MiB","clear":"swap.used_ratio < 80 %"}',
  600000, 0, 'warning', '{}', 1, 1, 'sysop', 0, 'sysop', 0),
 ('memory_low', 'Hardly any memory is left',
  '{"kind":"expression","when":"memory.available / memory.total < 4 %","clear":"memory.available / memory.total > 8 %"}',
  600000, 0, 'warning', '{}', 1, 1, 'sysop', 0, 'sysop', 0),
 ('kernel_memory', 'The kernel holds a third of the memory and does not give it back',
  '{"kind":"expression","when":"memory.slab_unreclaimable / memory.total > 33 %","clear":"memory.slab_unreclaimable / memory.total < 28 %"}',
  1800000, 0, 'warning', '{}', 1, 1, 'sysop', 0, 'sysop', 0),
 ('load_high', 'Load is high for the number of processors',
  '{"kind":"expression","when":"load.15 / cpu.cores > 4","clear":"load.15 / cpu.cores < 3"}',
  900000, 0, 'warning', '{}', 1, 1, 'sysop', 0, 'sysop', 0),
 ('close_wait', 'A program leaves many connections half closed',
  '{"kind":"expression","when":"tcp.close_wait > 1000","clear":"tcp.close_wait < 700"}',
  600000, 0, 'warning', '{}', 1, 1, 'sysop', 0, 'sysop', 0),
 ('clock_unsynced', 'The clock is not kept in step',
  '{"kind":"expression","when":"clock.synced == 0","clear":""}',
  21600000, 0, 'info', '{}', 1, 1, 'sysop', 0, 'sysop', 0),
 ('sensor_failed', 'A sensor of the agent fails',
  '{"kind":"expression","when":"agent.sensor_failed == 1","clear":""}',
  1800000, 0, 'info', '{}', 1, 1, 'sysop', 0, 'sysop', 0),
 ('spool_behind', 'Samples pile up on the host',
  '{"kind":"expression","when":"agent.spool_bytes > 64 MiB","clear":"agent.spool_bytes < 16 MiB"}',
  900000, 0, 'warning', '{}', 1, 1, 'sysop', 0, 'sysop', 0);
