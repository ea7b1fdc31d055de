-- commit.lua: decide whether a prepared action may happen now. The linearization point of the whole product.
-- KEYS  as in _action.lua
-- ARGV  as in _action.lua, then digest (hex) and use_ms (how long the permit lasts)
-- ANSWERS  PERMITTED replayed fence use_by left_ms | REFUSED reason details... | UNFIT

local DIGEST, USE_MS = ARGV[8], tonumber(ARGV[9])

local action = read(ACTION)
local grant, refusal = authority(action, action)
if not grant then return refusal end
if not action then return refuse('ACTION_UNKNOWN') end
if action.grant ~= GRANT_ID then return refuse('WRONG_GRANT', action) end
if action.digest ~= DIGEST then return refuse('DIGEST_MISMATCH', action) end
local decided = not_permitted(grant, action)
if decided then return decided end

return permit(grant, action, USE_MS)
