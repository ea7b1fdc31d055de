-- What commit and perform share: the permit.

-- The permit given before, or the refusal of a new one; nil if a new one may be given.
local function not_permitted(grant, action)
  if action.state == 'PERMITTED' then
    local left = math.max(0, tonumber(action.use_by) - NOW)
    return answer('PERMITTED', '1', action.fence, action.use_by, text(left))
  end
  local refusal = not_open(action)
  if refusal then return refusal end
  if NOW >= tonumber(grant.expire_time) then return refuse('GRANT_EXPIRED', action) end
  local place = tonumber(action.scope) + 1
  local limit = cjson.decode(grant.scopes)[place][3]
  if limit > 0 and tonumber(split(grant.used)[place]) >= limit then return refuse('USES_EXHAUSTED', action) end
end

-- Give the permit. Its use-by never outlives the grant, and its fencing number is that of its journal entry.
local function permit(grant, action, use_ms)
  local use_by = math.min(NOW + use_ms, tonumber(grant.expire_time))
  local fence = append(JOURNAL, 'PERMITTED', 'op', OP, 'use_by', text(use_by))
  local used, place = split(grant.used), tonumber(action.scope) + 1
  if cjson.decode(grant.scopes)[place][3] > 0 then -- nothing asks how often a scope without a limit was used
    used[place] = text(tonumber(used[place]) + 1)
    redis.call('HSET', GRANT, 'used', table.concat(used, ','))
  end
  redis.call('HSET', ACTION, 'state', 'PERMITTED', 'fence', fence, 'use_by', text(use_by))
  return answer('PERMITTED', '0', fence, text(use_by), text(use_by - NOW))
end
