-- The chain only grows: whoever asks for one actor or one kind of record must not walk it all.
CREATE INDEX audit_actor ON audit (actor, at);
CREATE INDEX audit_action ON audit (action, at);
