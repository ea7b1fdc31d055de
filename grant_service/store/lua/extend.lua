-- extend.lua: let a grant last longer, if time is all it lacks; never longer than its run or a grant above it.
-- KEYS  as in _tool.lua, the record being the grant itself; then the fences' journal
-- ARGV  as in _tool.lua, op_id being ''; then ttl_ms (how long from now on)
-- ANSWERS  EXTENDED replayed subject remaining grant... | REFUSED reason details... | UNFIT

local FENCES_JOURNAL, TTL_MS = KEYS[REST], ARGV[9]

-- Why a fence that ever killed any of this authority refuses, and the details; nil if none did. Commits no longer look for
-- fences all of whose victims have expired: so those are found by their lines, from the first grant of the chain on.
local function killed(root_seq, marks, scopes)
  if redis.call('EXISTS', FENCES) == 1 and redis.call('EXISTS', FENCES_JOURNAL) == 0 then
    error('the journal ' .. FENCES_JOURNAL .. ' is gone')
  end
  for _, line in ipairs(redis.call('XRANGE', FENCES_JOURNAL, '(' .. root_seq .. '-0', '+')) do
    local told = {}
    for i = 1, #line[2], 2 do told[line[2][i]] = line[2][i + 1] end
    if told.kind ~= 'LIFTED' then
      local fence = cjson.decode(redis.call('HGET', FENCES, told.fence))
      local meets = fence.action == ''
      for _, scope in ipairs(scopes) do
        meets = meets or action_matches(fence.action, scope[1]) or action_matches(scope[1], fence.action)
      end
      if meets and names_all(fence, marks) then return 'FENCED', fence_details(fence) end
    end
  end
end

local cleared, refusal = authority(nil, nil)
if not cleared then return refusal end
open_budgets()
local run, grant = pick(RUN, 'run', 'subject', 'deadline', 'marks'), read(GRANT)
local marks = run.marks .. '\ngrant=' .. table.concat(LINKS, '\ngrant=')
local reason, details = killed(grant.root_seq, marks, cjson.decode(grant.scopes))
if reason then return refuse(reason, nil, details) end

local expire_time = math.min(NOW + tonumber(TTL_MS), tonumber(run.deadline))
for i = 1, #LINKS - 1 do
  local above = tonumber(redis.call('HGET', KEYS[GRANTS_AT + i - 1], 'expire_time'))
  if NOW >= above then return refuse('GRANT_EXPIRED', nil, { grant = LINKS[i] }) end
  expire_time = math.min(expire_time, above)
end
if expire_time <= tonumber(grant.expire_time) then
  return answer('EXTENDED', '1', run.subject, remaining(), unpack(flatten(grant)))
end
grant.expire_time = text(expire_time)
append(JOURNAL, 'EXTENDED', 'grant', GRANT_ID, 'expire', grant.expire_time)
redis.call('HSET', GRANT, 'expire_time', grant.expire_time)
return answer('EXTENDED', '0', run.subject, remaining(), unpack(flatten(grant)))
