-- What all verbs share that stop runs, or tell of jobs to be called off then. JOBS has the open call-offs that nobody has
-- made due, each under the path of its run, so that all at or below a run are side by side, its own first; CUTS has the
-- paths of runs below which they have to be looked for, each with the time from which on.

local function waits_as(path, which)
  return path .. ',/' .. OP .. (string.match(which, '/%d+$') or '')
end

-- Find jobs of a run, or also of the runs below it: ids begin with a letter or a digit, which come after `/` and `-`.
local function find_jobs(jobs, path, below, limit)
  local stop = below and '(' .. path .. '-' or '(' .. path .. ',0'
  return redis.call('ZRANGEBYLEX', jobs, '[' .. path .. ',', stop, 'LIMIT', '0', text(limit))
end

-- Note that from then on, at the latest, jobs at or below a run may have to be called off.
local function look_below(stops, path, at)
  redis.call('ZADD', stops, 'LT', at, path)
end
