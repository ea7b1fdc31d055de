-- What a grant allows, as core/scope.py has it: names and patterns are canonical, and compared byte by byte.
-- A scope is {action, resource, max uses, ceiling, class from which a person has to agree or ''}.

local RANK = { READ_ONLY = 0, REVERSIBLE = 1, COMPENSABLE = 2, IRREVERSIBLE = 3 }
local RULES = { 'action', 'resource', 'ceiling', 'uses' } -- the order in which they are asked

-- One walk over both texts. A `*` is a whole segment, at the very end all that follows; never nothing.
local function resource_matches(pattern, resource)
  if pattern == '*' then return true end
  local at = 1
  for position = 1, #pattern do
    local letter = string.sub(pattern, position, position)
    if letter == '*' then
      if position == #pattern then return at <= #resource end
      local stop = string.find(resource, '[/:@,;?#&=]', at) or #resource + 1
      if stop == at then return false end
      at = stop
    elseif string.sub(resource, at, at) == letter then
      at = at + 1
    else
      return false
    end
  end
  return at == #resource + 1
end

-- The number of the first rule that forbids this, or nil.
local function forbids(scope, used, intent)
  if not action_matches(scope[1], intent.action) then return 1 end
  if not resource_matches(scope[2], intent.resource) then return 2 end
  if RANK[intent.reversibility] > RANK[scope[4]] then return 3 end
  if scope[3] > 0 and used >= scope[3] then return 4 end
end

-- The place (from 1) of the first scope that allows this, and the scope; or nil and the rule of the one that came
-- closest.
local function choose(grant, intent)
  local used, closest = split(grant.used), 1
  for place, scope in ipairs(cjson.decode(grant.scopes)) do
    local rule = forbids(scope, tonumber(string.match(used[place], '^%d+')), intent)
    if not rule then return place, scope end
    closest = math.max(closest, rule)
  end
  return nil, RULES[closest]
end
