-- perform.lua: prepare and commit in one step; a repeated one gets the permit of the first. Where a person has to agree
-- first, it is on record afterwards, and refused until they have.
-- KEYS  as in _prepare.lua, then as in _permit.lua
-- ARGV  as in _prepare.lua, then use_ms (how long the permit lasts, more than 0)
-- ANSWERS  PERMITTED replayed fence use_by left_ms remaining | REFUSED reason details... | UNFIT

local USE_MS = tonumber(ARGV[21])

local action = read_action()
local grant, refusal = authority(INTENT, action)
if not grant then return refusal end
open_budgets()
if action then
  refusal = not_same(action)
  if refusal then return refusal end
  if action.said_digest ~= '' and action.said_digest ~= action.digest then
    return refuse('DIGEST_MISMATCH', INTENT) -- a person agreed to other arguments
  end
  return not_permitted(grant, action) or permit(grant, action, USE_MS, true)
end

local place, waits, keep_until = may_prepare(grant)
if not place then return waits end

action = put_prepared(grant, place, waits, keep_until, waits and WAIT_MS or USE_MS, not waits)
if waits then return refuse('AWAITING_APPROVAL', INTENT) end
-- What not_permitted asks, a new action has answered already: it is open, and its scope has a use left.
return permit(grant, action, USE_MS, false)
