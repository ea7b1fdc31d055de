-- What open and delegate share: opening a run. It is asked for as {parent, subject, agent, tenant, labels (JSON),
-- ttl_ms, budgets (as asked for)}.

-- The marks of a run that are its own, after those of the run above it; label marks come from label_at on in ARGV.
local function marks_of(run_id, asked, above, label_at)
  local own = { 'run=' .. run_id }
  for _, name in ipairs({ 'subject', 'agent', 'tenant' }) do
    if asked[name] ~= '' then own[#own + 1] = name .. '=' .. asked[name] end
  end
  for i = label_at, #ARGV do own[#own + 1] = ARGV[i] end
  local marks = above
  for _, mark in ipairs(own) do
    if not string.find('\n' .. marks .. '\n', '\n' .. mark .. '\n', 1, true) then
      marks = marks == '' and mark or marks .. '\n' .. mark
    end
  end
  return marks
end

-- Write a run and its line, put it on the lists, and answer its fields. `parent` is the run above it, if there is one,
-- with its path; a ttl of 0 lasts as long as that.
local function open_run(keys, run_id, asked, keep_ms, parent, label_at)
  local deadline = NOW + tonumber(asked.ttl_ms)
  if parent then
    local above = tonumber(parent.deadline)
    deadline = asked.ttl_ms == '0' and above or math.min(deadline, above)
  end
  local keep_until, number = text(deadline + tonumber(keep_ms)), take_seq()
  redis.call('XADD', keys.journal, unpack(entry(number, 'OPENED', 'parent', asked.parent, 'subject', asked.subject,
    'agent', asked.agent, 'tenant', asked.tenant, 'labels', asked.labels, 'deadline', text(deadline),
    'budgets', asked.budgets)))
  redis.call('PEXPIREAT', keys.journal, keep_until)
  local run = put_run(keys.run, run_id, {
    parent = asked.parent, ancestors = parent and parent.path or '', subject = asked.subject, agent = asked.agent,
    tenant = asked.tenant, labels = asked.labels, open_time = text(NOW), open_seq = number, ttl_ms = asked.ttl_ms,
    deadline = text(deadline), keep_until = keep_until, budgets = new_budgets(asked.budgets),
    marks = marks_of(run_id, asked, parent and parent.marks or '', label_at),
  })
  redis.call('PEXPIREAT', keys.run, keep_until)
  redis.call('ZADD', keys.runs, number, run_id)
  redis.call('ZADD', keys.active, number, run_id)
  if parent then append(keys.parent_journal, 'CHILD_OPENED', 'child', run_id) end
  return run
end
