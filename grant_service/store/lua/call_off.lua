-- call_off.lua: make the jobs of a run that was stopped due, so that compensators find them; of one that was cancelled
-- those of the runs below it, too. The others are noted by themselves.
-- KEYS  meta, cuts, jobs, calling_off, the duty of each job, then the path as in _path.lua
-- ARGV  nonce, run id, the jobs; the path as in _path.lua
-- ANSWERS  CALLED_OFF 0 how many are due now | UNFIT

local CUTS, JOBS, CALLING_OFF = unpack(KEYS, 2, 4)
local RUN_PATH = table.concat(PATH, ',')

local there, other_path = find_run()
if other_path then -- it is another run of this name, which is noted under its own path
  redis.call('ZREM', CUTS, RUN_PATH)
  return answer('CALLED_OFF', '0', '0')
end
local state, deadline = unpack(redis.call('HMGET', KEYS[#KEYS], 'state', 'deadline'))
local stopped, below = was_cut_off(there), state == 'CANCELLED'
local at_work = not stopped and not ended(PATH, RUNS_AT, RUN_ID)
local due, over, gone = {}, {}, {}
for i = 3, #ARGV - 1 do
  local job, key = ARGV[i], KEYS[i + 2]
  local duty = redis.call('HMGET', key, 'state', 'due')
  local own = string.sub(job, 1, #RUN_PATH + 2) == RUN_PATH .. ',/'
  if duty[1] ~= 'OPEN' or duty[2] ~= NEVER then
    over[#over + 1] = job
  elseif stopped and (own or below) then
    local path, rest = string.match(job, '^(.*),/(.*)$')
    due[#due + 1] = { key = key, name = string.match(path, '[^,]+$') .. '/' .. rest, job = job }
  end
end
for _, job in ipairs(over) do gone[job] = true end
for _, one in ipairs(due) do gone[one.job] = true end
local left = false
for _, job in ipairs(find_jobs(JOBS, RUN_PATH, below, #ARGV)) do left = left or not gone[job] end

-- On the list first: should a later write fail, it is there twice, and the next look takes it off here.
for _, one in ipairs(due) do
  redis.call('ZADD', CALLING_OFF, text(NOW), one.name)
  redis.call('HSET', one.key, 'due', text(NOW))
end
for job in pairs(gone) do redis.call('ZREM', JOBS, job) end
if at_work then
  redis.call('ZADD', CUTS, deadline, RUN_PATH)
elseif not stopped or not left then
  redis.call('ZREM', CUTS, RUN_PATH)
end
return answer('CALLED_OFF', '0', text(#due))
