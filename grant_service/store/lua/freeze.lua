-- freeze.lua: kill what was issued before, and block what comes later.
-- KEYS  as in _fences.lua
-- ARGV  as in _set_fence.lua, then ttl_ms (how long it blocks; 0: until it is lifted)
-- ANSWERS  FROZEN replayed fence... | REFUSED reason details... | UNFIT

return set_fence('FROZEN', 'FREEZE', ARGV[10])
