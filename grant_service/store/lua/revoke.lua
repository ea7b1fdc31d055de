-- revoke.lua: kill what was issued before. Nothing refuses it but its own id's being taken.
-- KEYS  as in _fences.lua
-- ARGV  as in _set_fence.lua
-- ANSWERS  REVOKED replayed fence... | REFUSED reason details... | UNFIT

return set_fence('REVOKED', 'REVOKE', '0')
