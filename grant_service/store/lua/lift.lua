-- lift.lua: end a freeze. What it killed stays dead.
-- KEYS  as in _fences.lua
-- ARGV  nonce, fence id, actor, note
-- ANSWERS  LIFTED replayed fence... | REFUSED reason details... | UNFIT

local FENCE_ID, ACTOR, NOTE = unpack(ARGV, 2, 4)

local fence = read_fence(FENCE_ID)
if not fence then return refused('FENCE_UNKNOWN', { fence = FENCE_ID }) end
if fence.kind == 'REVOKE' then return refused('FENCE_NOT_LIFTABLE', { fence = FENCE_ID }) end
if fence.lift_seq ~= '0' then return answer('LIFTED', '1', unpack(flatten(fence))) end

local anchor, standing = anchor_of(fence), redis.call('ZCARD', STANDING)
local ids, stood = ids_under(anchor), fence.standing == '1'
fence.lift_actor, fence.lift_note, fence.lift_time = ACTOR, NOTE, text(NOW)
if stood and is_over(fence) then
  fence.standing = ''
  ids, standing = without(ids, { [FENCE_ID] = true }), standing - 1
end
fence.lift_seq = append(JOURNAL, 'LIFTED', 'fence', FENCE_ID, 'actor', ACTOR, 'note', NOTE)
put_fences({ fence }, { [anchor] = ids }, standing)
return answer('LIFTED', '0', unpack(flatten(fence)))
