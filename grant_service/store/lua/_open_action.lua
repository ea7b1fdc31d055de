-- What prepare, commit and perform share.

-- Refuse an action that is not, or no longer, waiting for its commit or for a person.
local function not_open(action)
  local state = action.state
  if state == 'PERMITTED' then return refuse('ALREADY_PERMITTED', action) end
  if settled(state) then return refuse('ALREADY_SETTLED', action, { state = state }) end
  if state == 'ABANDONED' then return refuse('ACTION_ABANDONED', action) end
  if state == 'DENIED' then return denied(action, 'a person said no') end
  if NOW >= tonumber(action.expire_time) then
    if state == 'AWAITING_APPROVAL' then return denied(action, 'nobody agreed in time') end
    return refuse('PREPARE_EXPIRED', action)
  end
  if action.said_until ~= '0' and NOW >= tonumber(action.said_until) then
    return denied(action, 'the approval was not used in time')
  end
end

-- How often the scopes were used that an action counts for, once it is committed: the key of a grant and its `used`.
local USED = {}

-- Say whether a scope of the grant (its place from 1), and every scope it narrows, has a use left; note what one more
-- makes of them.
local function has_uses_left(place)
  for level = #GRANTS, 1, -1 do
    local used = split(GRANTS[level].used)
    local count, limit = string.match(used[place], '^(%d+)/(%d+)$')
    if limit ~= '0' then -- nothing asks how often a scope without a limit was used
      if tonumber(count) >= tonumber(limit) then return false end
      used[place] = text(tonumber(count) + 1) .. '/' .. limit
      USED[KEYS[GRANTS_AT + level - 1]] = table.concat(used, ',')
    end
    if level > 1 then place = tonumber(split(GRANTS[level].narrows)[place]) + 1 end
  end
  return true
end
