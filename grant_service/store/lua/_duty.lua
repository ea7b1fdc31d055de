-- What all verbs about duties share, and those that make one: a duty, as core/duty.py has it, and the lists by which the
-- open ones are found. Each script fills in the keys of this action's duties and, by kind, those of the lists.

local DUTIES, LISTS = {}, {}

-- Names a duty among those of its action: by its kind, and from the second job on by that, too, as in CALL_OFF/1.
local function which(kind, job)
  return job == 0 and kind or kind .. '/' .. text(job)
end

local function kind_of(which)
  return string.match(which, '^[%u_]+')
end

local function job_of(which)
  return string.match(which, '/(%d+)$') or '0'
end

-- The name of a duty on its list.
local function listed_as(which)
  return which == 'UNDO' and OP or RUN_ID .. '/' .. OP .. (string.match(which, '/%d+$') or '')
end

-- Take a duty off the list of the open ones, or put it there: an undo of its run by the number of its permit, the others
-- by when they are due, if they are. What is called off if its run is stopped waits elsewhere (_stops.lua).
local function unlist(which)
  redis.call('ZREM', LISTS[kind_of(which)], listed_as(which))
end

local function list(which, duty, goes)
  if duty.due == NEVER then
    unlist(which)
  elseif which ~= 'UNDO' then
    redis.call('ZADD', LISTS[kind_of(which)], duty.due, listed_as(which))
  else
    redis.call('ZADD', LISTS.UNDO, duty.fence, OP)
    redis.call('PEXPIREAT', LISTS.UNDO, goes)
  end
end

-- When the records of this action's run go, and with them its duties. Of a script that broke half-way the action may
-- stay for ever; its duties do not.
local function records_go(action)
  return text(math.max(redis.call('PEXPIRETIME', ACTION), tonumber(action.undo_until)))
end

-- Write a duty whole; what is not given is as in a new one. The list goes first: should a later write fail, it names a
-- duty that is not there, and reading takes it off.
local function put_duty(which, given, goes)
  local duty = {
    run = RUN_ID, op = OP, kind = kind_of(which), job = job_of(which), handle = '', state = 'OPEN', epoch = EPOCH,
    attempts = '0', worker = '', lease = '', lease_until = '0', failed_lease = '', failed_seq = '0',
  }
  for name, value in pairs(given) do duty[name] = value end
  if duty.state == 'OPEN' then list(which, duty, goes) else unlist(which) end
  redis.call('HSET', DUTIES[which], unpack(flatten(duty)))
  redis.call('PEXPIREAT', DUTIES[which], goes)
end
