-- What commit and perform share: the permit.

-- Count one use of a scope (its place from 1) and of every scope it narrows.
local function take_use(place)
  for level = #GRANTS, 1, -1 do
    local used = split(GRANTS[level].used)
    local count, limit = string.match(used[place], '^(%d+)/(%d+)$')
    if limit ~= '0' then -- nothing asks how often a scope without a limit was used
      used[place] = text(tonumber(count) + 1) .. '/' .. limit
      redis.call('HSET', KEYS[GRANTS_AT + level - 1], 'used', table.concat(used, ','))
    end
    if level > 1 then place = tonumber(split(GRANTS[level].narrows)[place]) + 1 end
  end
end

-- The permit given before, as long as it can be used, or the refusal of one; nil if one may be given. A permit lasts no
-- longer than its grant, so none is repeated when a fence is no longer looked for.
local function not_permitted(grant, action)
  local ms_left = tonumber(action.use_by) - NOW
  if action.state == 'PERMITTED' and ms_left > 0 then
    return answer('PERMITTED', '1', action.fence, action.use_by, text(ms_left), remaining())
  end
  local refusal = not_open(action)
  if refusal then return refusal end
  if action.state == 'AWAITING_APPROVAL' then return refuse('AWAITING_APPROVAL', action) end
  if NOW >= tonumber(grant.expire_time) then return refuse('GRANT_EXPIRED', action) end
  if not has_uses_left(tonumber(action.scope) + 1) then return refuse('USES_EXHAUSTED', action) end
end

-- Give the permit. Its use-by never outlives the grant, and its fencing number is that of its journal entry. What the
-- action needs of budgets is taken for good; `held` says that it was held for it until now.
local function permit(grant, action, use_ms, held)
  local use_by = math.min(NOW + use_ms, tonumber(grant.expire_time))
  local fence = append(JOURNAL, 'PERMITTED', 'op', OP, 'use_by', text(use_by))
  take_use(tonumber(action.scope) + 1)
  if #OWNERS > 0 then
    if held then let_go(action.costs, tonumber(action.expire_time)) end
    take(charges(action.costs))
    write_budgets()
  end
  redis.call('HSET', ACTION, 'state', 'PERMITTED', 'fence', fence, 'use_by', text(use_by))
  return answer('PERMITTED', '0', fence, text(use_by), text(use_by - NOW), remaining())
end
