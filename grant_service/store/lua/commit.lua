-- commit.lua: decide whether a prepared action may happen now. The linearization point of the whole product.
-- KEYS  as in _tool.lua, then as in _permit.lua
-- ARGV  as in _tool.lua, then digest (hex) and use_ms (how long the permit lasts)
-- ANSWERS  PERMITTED replayed fence use_by left_ms remaining | REFUSED reason details... | UNFIT

local DIGEST, USE_MS = ARGV[9], tonumber(ARGV[10])

local action = read_action()
local grant, refusal = authority(action, action)
if not grant then return refusal end
if not action then return refuse('ACTION_UNKNOWN') end
if action.grant ~= GRANT_ID then return refuse('WRONG_GRANT', action) end
if (action.said_digest == '' and action.digest or action.said_digest) ~= DIGEST then
  return refuse('DIGEST_MISMATCH', action)
end
open_budgets()
local decided = not_permitted(grant, action)
if decided then return decided end

return permit(grant, action, USE_MS, true)
