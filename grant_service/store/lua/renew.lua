-- renew.lua: keep a duty that is still the caller's.
-- KEYS  as in _about.lua
-- ARGV  as in _lease.lua, then lease_ms
-- ANSWERS  RENEWED replayed left_ms duty... | REFUSED reason details... | UNFIT

local LEASE_MS = ARGV[6]

local action, duty = held_duty()
if not action then return duty end
local refusal = not_open(duty)
if refusal then return refusal end

duty.lease_until = text(NOW + tonumber(LEASE_MS))
redis.call('HSET', DUTIES[KIND], 'lease_until', duty.lease_until)
return answer('RENEWED', '0', LEASE_MS, unpack(flatten(duty)))
