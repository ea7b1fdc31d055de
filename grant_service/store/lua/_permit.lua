-- What commit and perform share: the permit.
-- KEYS  at the end the list of what can be asked, and the action's duty ASK

LISTS.ASK, DUTIES.ASK = KEYS[#KEYS - 1], KEYS[#KEYS]

-- The permit given before, as long as it can be used, or the refusal of one; nil if one may be given. A permit lasts no
-- longer than its grant, so none is repeated when a fence is no longer looked for.
local function not_permitted(grant, action)
  if action.state == 'PERMITTED' then
    local given = redis.call('HMGET', ACTION, 'fence', 'use_by')
    local ms_left = tonumber(given[2]) - NOW
    if ms_left > 0 then return answer('PERMITTED', '1', given[1], given[2], text(ms_left), remaining()) end
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
  local costs = #OWNERS > 0 and (action.costs or redis.call('HGET', ACTION, 'costs'))
  local goes = action.probe ~= '' and (action.keep_until or records_go(action))
  local fence = append(JOURNAL, 'PERMITTED', 'op', OP, 'use_by', text(use_by))
  for key, used in pairs(USED) do redis.call('HSET', key, 'used', used) end
  if costs then
    if held then let_go(costs, tonumber(action.expire_time)) end
    take(charges(costs))
    write_budgets()
  end
  if goes then -- somebody may ask what became of it, if nobody says so in time; the permit leaves time for that
    local last = math.max(tonumber(action.undo_until), math.min(use_by + ASK_MS, tonumber(goes)))
    put_duty('ASK', {
      name = action.probe, seq = fence, fence = fence, due = text(use_by), ['until'] = text(last),
    }, goes)
  end
  redis.call('HSET', ACTION, 'state', 'PERMITTED', 'fence', fence, 'use_by', text(use_by))
  return answer('PERMITTED', '0', fence, text(use_by), text(use_by - NOW), remaining())
end
