-- How a pattern of actions covers a name, as core/scope.py has it: both are canonical, and compared byte by byte.

local function action_matches(pattern, action)
  if pattern == '*' then return true end
  if string.sub(pattern, -2) == '.*' then return string.sub(action, 1, #pattern - 1) == string.sub(pattern, 1, -2) end
  return action == pattern
end
