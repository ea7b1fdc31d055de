-- What revoke, freeze and lift share: writing fences, and the lists by which they are found.
-- KEYS  meta, anchors, fences, standing, the fences' journal

local ANCHORS, FENCES, STANDING, JOURNAL = unpack(KEYS, 2, 5)

local function read_fence(id)
  local kept = redis.call('HGET', FENCES, id)
  return kept and cjson.decode(kept)
end

-- Say whether it can refuse nothing any more: all it killed has expired since.
local function is_over(fence)
  return NOW >= tonumber(fence.kill_until) and not blocks(fence)
end

-- The mark under which a fence is found.
local function anchor_of(fence)
  if fence.marks ~= '' then return string.match(fence.marks, '^[^\n]+') end
  return fence.action == '' and 'all' or 'action=' .. fence.action
end

-- The ids of the standing fences under an anchor.
local function ids_under(anchor)
  return split(redis.call('HGET', ANCHORS, anchor) or '')
end

-- A list of ids without some of them.
local function without(ids, gone)
  local kept = {}
  for _, id in ipairs(ids) do
    if not gone[id] then kept[#kept + 1] = id end
  end
  return kept
end

-- Put fences as they are now, `lists` the ids that stand under their anchors and `standing` how many stand at all. Where
-- a commit looks first is written first: should a later write fail, it refuses what it cannot read.
local function put_fences(fences, lists, standing)
  redis.call('HSET', META, 'standing', text(standing))
  for anchor, ids in pairs(lists) do
    if #ids > 0 then
      redis.call('HSET', ANCHORS, anchor, table.concat(ids, ','))
    else
      redis.call('HDEL', ANCHORS, anchor)
    end
  end
  for _, fence in ipairs(fences) do
    redis.call('HSET', FENCES, fence.fence, cjson.encode(fence))
    if fence.standing == '1' then
      redis.call('ZADD', STANDING, fence.kill_until, fence.fence)
    else
      redis.call('ZREM', STANDING, fence.fence)
    end
  end
end
