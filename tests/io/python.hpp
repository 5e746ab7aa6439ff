#pragma once

#include "support/python.hpp"
