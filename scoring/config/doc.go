// Package config reads the one YAML file that says what a site is made of: which sensors its servers have
// (section sensors, read by package sensors/config), which power model each server has (models), and how
// work is placed (scoring).
//
// Its main type is [Config]. Reading is strict: a field that does not exist, is given twice, has the wrong
// type or makes no sense is an error with file, line and field.
package config
