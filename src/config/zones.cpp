#include "zones.hpp"

#include <algorithm>
#include <exception>
#include <vector>

#include "document.hpp"
#include "saathii/config/nearest.hpp"

namespace saathii::config {
namespace {

constexpr std::string_view allowed = "; allowed: a zone of the system, such as \"Asia/Kolkata\"";

std::vector<std::string_view> zone_names() {
  std::vector<std::string_view> names;
  for (const auto& zone : tz::get_tzdb().zones) names.push_back(zone.name());
  std::sort(names.begin(), names.end());
  return names;
}

/// People know their city: "Kolkata" means "Asia/Kolkata".
std::string_view nearest_zone(std::string_view name) {
  const auto names = zone_names();
  if (const auto near = nearest(name, names); !near.empty()) return near;
  std::vector<std::string_view> cities;
  cities.reserve(names.size());
  for (const auto zone : names) cities.push_back(zone.substr(zone.rfind('/') + 1));
  const auto city = nearest(name.substr(name.rfind('/') + 1), cities);
  if (city.empty()) return {};
  const auto index = std::find(cities.begin(), cities.end(), city) - cities.begin();
  return names[static_cast<std::size_t>(index)];
}

}  // namespace

TimeZone find_zone(std::string_view name, std::string& error) {
  try {
    static_cast<void>(tz::get_tzdb());
  } catch (const std::exception&) {
    error = "cannot read the system's time zones; install the package tzdata";
    return nullptr;
  }
  try {
    return tz::locate_zone(name);
  } catch (const std::exception&) {
    const auto near = name.empty() ? std::string_view{} : nearest_zone(name);
    error = "found the unknown time zone " + quote(name);
    error += near.empty() ? std::string(allowed) : "; did you mean \"" + std::string(near) + "\"?";
    return nullptr;
  }
}

}  // namespace saathii::config
