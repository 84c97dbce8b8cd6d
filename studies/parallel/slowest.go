package parallel

// normalMaxima are the expected maxima of n values that are distributed normally with deviation 1 (Harter, Expected values
// of normal order statistics, Biometrika 48, 1961; Tippett 1925 for more than 400).
var normalMaxima = [][2]float64{
	{1, 0}, {2, 0.5642}, {5, 1.1630}, {10, 1.5388}, {20, 1.8675}, {50, 2.2491}, {100, 2.5076}, {200, 2.7460}, {500, 3.0367},
	{1000, 3.2414}, {2000, 3.4353}, {5000, 3.6780}, {10000, 3.8516}, {100000, 4.3831}, {1000000, 4.8636},
}

// slowest is how much longer the slowest of n chips takes than a typical one, if their speeds deviate by spread.
func slowest(n int64, spread float64) float64 {
	x := float64(n)
	last := normalMaxima[len(normalMaxima)-1]
	value := last[1]
	for i := 1; i < len(normalMaxima); i++ {
		a, b := normalMaxima[i-1], normalMaxima[i]
		if x <= b[0] {
			value = a[1] + float64((b[1]-a[1])*((x-a[0])/(b[0]-a[0])))
			break
		}
	}
	return 1 + float64(spread*value)
}
