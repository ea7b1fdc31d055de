-- renew.lua: keep a duty that is still the caller's, but never beyond its own time.
-- KEYS  as in _about.lua
-- ARGV  as in _lease.lua, then lease_ms
-- ANSWERS  RENEWED replayed left_ms duty... | REFUSED reason details... | UNFIT

local LEASE_MS = tonumber(ARGV[6])

local action, duty = held_duty()
if not action then return duty end
local refusal = not_open(duty) or too_late(duty)
if refusal then return refusal end

duty.lease_until = lease_end(duty, LEASE_MS)
redis.call('HSET', DUTIES[WHICH], 'lease_until', duty.lease_until)
return answer('RENEWED', '0', text(tonumber(duty.lease_until) - NOW), unpack(flatten(duty)))
