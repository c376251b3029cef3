"""What the neuron masks say about languages: overlaps, their progression over layers, trees and figures."""
