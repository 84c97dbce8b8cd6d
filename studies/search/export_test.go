package search

// Hypervolume is what tests outside of the package measure fronts by.
var Hypervolume = hypervolume
