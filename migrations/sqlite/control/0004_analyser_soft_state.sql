-- What the statistics have learned of a host: one packed value with a version byte, bounded by the
-- analyser. What a version cannot read it forgets and learns again.
ALTER TABLE analyser_state ADD COLUMN soft BLOB;
