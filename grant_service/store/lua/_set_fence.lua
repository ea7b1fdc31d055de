-- What revoke and freeze share: setting a fence.
-- KEYS  as in _fences.lua
-- ARGV  nonce, fence id, marks (lines), action, selector (as people read it), reason, actor, note, kill_ms (when no
--       grant from before can be alive any more); then the verb's own

local FENCE_ID, MARKS, ACTION, SELECTOR, REASON, ACTOR, NOTE, KILL_MS = unpack(ARGV, 2, 9)

-- Answer a fence as it was set before, refuse one that is set otherwise, or set it; `word` is the answer and the line.
-- Commits no longer look for those that are over, or that refuse nothing the new one does not.
local function set_fence(word, kind, ttl_ms)
  local existing = read_fence(FENCE_ID)
  if existing then
    local asked = { kind = kind, marks = MARKS, action = ACTION, ttl_ms = ttl_ms }
    for name, value in pairs(asked) do
      if existing[name] ~= value then return refused('FENCE_EXISTS', { fence = FENCE_ID }) end
    end
    -- A freeze that was lifted, or whose time is over, must not be taken for one that stands.
    if kind == 'FREEZE' and not blocks(existing) then return refused('FENCE_EXISTS', { fence = FENCE_ID }) end
    return answer(word, '1', unpack(flatten(existing)))
  end

  local kill_until = NOW + tonumber(KILL_MS)
  local fence = {
    fence = FENCE_ID, kind = kind, marks = MARKS, action = ACTION, reason = REASON, actor = ACTOR, note = NOTE,
    time = text(NOW), kill_until = text(kill_until), ttl_ms = ttl_ms,
    block_until = ttl_ms == '0' and '0' or text(NOW + tonumber(ttl_ms)), lift_actor = '', lift_note = '',
    lift_time = '0', lift_seq = '0', standing = '1',
  }
  local anchor, standing, fences = anchor_of(fence), redis.call('ZCARD', STANDING) + 1, { fence }
  -- Of a set that broke half-way the id may be on the list already.
  local under, looked_at, gone = ids_under(anchor), { [FENCE_ID] = true }, { [FENCE_ID] = true }
  local lists = { [anchor] = under }
  local function tidy(id)
    local one = not looked_at[id] and read_fence(id)
    looked_at[id] = true
    if not one then return end
    local same = one.marks == MARKS and one.action == ACTION and tonumber(one.kill_until) <= kill_until
    if is_over(one) or (same and not blocks(one)) then
      one.standing, gone[id], standing = '', true, standing - 1
      fences[#fences + 1] = one
      lists[anchor_of(one)] = lists[anchor_of(one)] or ids_under(anchor_of(one))
    end
  end
  for _, id in ipairs(under) do tidy(id) end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', STANDING, '-inf', text(NOW))) do tidy(id) end
  for place, ids in pairs(lists) do lists[place] = without(ids, gone) end
  table.insert(lists[anchor], FENCE_ID)

  fence.seq = take_seq()
  put_fences(fences, lists, standing)
  redis.call('XADD', JOURNAL, unpack(entry(fence.seq, word, 'fence', FENCE_ID, 'selector', SELECTOR, 'reason', REASON,
    'actor', ACTOR, 'note', NOTE, 'expire', fence.block_until == '0' and '' or fence.block_until)))
  hint('')
  return answer(word, '0', unpack(flatten(fence)))
end
