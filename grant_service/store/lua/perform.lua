-- perform.lua: prepare and commit in one step; a repeated one gets the permit of the first.
-- KEYS  as in _action.lua
-- ARGV  as in _action.lua and _prepare.lua, then use_ms (how long the permit lasts, more than 0)
-- ANSWERS  PERMITTED replayed fence use_by left_ms | REFUSED reason details... | UNFIT

local USE_MS = tonumber(ARGV[14])

local action = read(ACTION)
local grant, refusal = authority(INTENT, action)
if not grant then return refusal end
if action then
  local decided = not_same(action) or not_permitted(grant, action)
  if decided then return decided end
  return permit(grant, action, USE_MS)
end

-- What not_permitted asks, a new action has answered already: it is open, and its scope has a use left.
local scope, more = may_prepare(grant)
if not scope then return more end

return permit(grant, put_prepared(grant, scope, more, USE_MS), USE_MS)
