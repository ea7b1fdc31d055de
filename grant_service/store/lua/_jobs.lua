-- What settle knows of the jobs of an action: core/lifecycle/jobs.py is the model.

local TOO_MANY = 'of one action at most ' .. text(MAX_JOBS) .. ' jobs can be called off'
local NOBODY = 'its tool named nobody who could'

-- What is told of a job: its place among those of its action, all of them with it, whether that is news, and why nobody
-- can call it off ('' if somebody can). Where none is named nothing is news. The same job is called off once.
local function named(action, handle, canceller, why_not)
  local handles = handles_of(action)
  local job = { number = -1, handles = action.handles, is_news = false, why_not = '' }
  if handle == '' then return job end
  local known = false
  job.number = #handles
  for i, one in ipairs(handles) do
    if one == handle then job.number, known = i - 1, true end
  end
  if not known then job.handles = action.handles .. (#handles > 0 and '\n' or '') .. handle end
  local too_many = job.number >= MAX_JOBS
  if known and not too_many and redis.call('EXISTS', DUTIES[which('CALL_OFF', job.number)]) == 1 then return job end
  if too_many then
    job.why_not = TOO_MANY
  elseif canceller == '' then
    job.why_not = why_not ~= '' and why_not or NOBODY
  end
  job.is_news = not known or job.why_not == ''
  return job
end
