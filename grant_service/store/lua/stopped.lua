-- stopped.lua: name runs below which it is time to look for jobs, and some of these. In a new epoch that is everywhere:
-- what was at work in another one is over.
-- KEYS  meta, cuts, jobs
-- ARGV  nonce, most runs, most jobs of each
-- ANSWERS  STOPPED 0 (path count jobs...)... | UNFIT

local CUTS, JOBS, MOST_RUNS, MOST_JOBS = KEYS[2], KEYS[3], ARGV[2], tonumber(ARGV[3])
local WORDS = 4000 -- as many as an answer may have, and then those of one more run

local everywhere = redis.call('HGET', META, 'looked_in') ~= EPOCH
local told, last = {}, everywhere and '+inf' or text(NOW)
for _, path in ipairs(redis.call('ZRANGEBYSCORE', CUTS, '-inf', last, 'LIMIT', '0', MOST_RUNS)) do
  if #told > WORDS then break end
  local jobs = find_jobs(JOBS, path, true, MOST_JOBS)
  told[#told + 1] = path
  told[#told + 1] = text(#jobs)
  for _, job in ipairs(jobs) do told[#told + 1] = job end
end
if everywhere then
  redis.call('ZUNIONSTORE', CUTS, '1', CUTS, 'WEIGHTS', '0')
  redis.call('HSET', META, 'looked_in', EPOCH)
end
return answer('STOPPED', '0', unpack(told))
