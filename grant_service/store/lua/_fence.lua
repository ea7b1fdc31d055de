-- Looking for the fences that stand over somebody. core/fence.py has what they are.
-- A run's marks are lines. `anchors` maps a mark to the ids of the standing fences kept under it, comma-separated;
-- `fences` maps an id to the fence, a JSON object whose values are all texts.

-- Add the anchors of every fence over actions that covers this name or pattern whole.
local function add_action_anchors(anchors, pattern)
  if pattern == '' or pattern == '*' then return end
  anchors[#anchors + 1] = 'action=' .. pattern
  local name = string.gsub(pattern, '%.%*$', '')
  while string.find(name, '.', 1, true) do
    name = string.gsub(name, '%.[^.]*$', '')
    anchors[#anchors + 1] = 'action=' .. name .. '.*'
  end
end

-- Say whether a fence refuses what was issued after it, too.
local function blocks(fence)
  local lasts = fence.block_until == '0' or NOW < tonumber(fence.block_until)
  return fence.kind == 'FREEZE' and fence.lift_time == '0' and lasts
end

-- Say whether all marks a fence names are among these lines.
local function names_all(fence, marks)
  local lines = '\n' .. marks .. '\n'
  for mark in string.gmatch(fence.marks, '[^\n]+') do
    if not string.find(lines, '\n' .. mark .. '\n', 1, true) then return false end
  end
  return true
end

-- How a fence is named to whoever is refused because of it.
local function fence_details(fence)
  local selector = string.gsub(fence.marks, '\n', ' ')
  if fence.action ~= '' then
    selector = (selector == '' and '' or selector .. ' ') .. 'action=' .. fence.action
  end
  local details = {
    fence = fence.fence, kind = fence.kind, selector = selector == '' and 'all' or selector,
    stop_reason = fence.reason, actor = fence.actor, note = fence.note, seq = fence.seq,
    ended_ago_ms = text(NOW - tonumber(fence.time)), ended_time = fence.time,
  }
  for name, value in pairs(details) do
    if value == '' then details[name] = nil end
  end
  return details
end

-- Why the oldest fence for which `refuses` says so refuses, and the details; nil if none does. It looks under the
-- marks, and the other anchors given.
local function fence_over(anchors_key, fences_key, marks, anchors, refuses)
  for mark in string.gmatch(marks, '[^\n]+') do anchors[#anchors + 1] = mark end
  anchors[#anchors + 1] = 'all'
  local oldest
  for _, ids in ipairs(redis.call('HMGET', anchors_key, unpack(anchors))) do
    for id in string.gmatch(ids or '', '[^,]+') do
      local fence = cjson.decode(redis.call('HGET', fences_key, id))
      if (not oldest or tonumber(fence.seq) < tonumber(oldest.seq)) and refuses(fence) then oldest = fence end
    end
  end
  if oldest then return 'FENCED', fence_details(oldest) end
end
